"""English words that ask the same."""

from __future__ import annotations

from typing import Final

# Groups of words that ask the same. The first of each stands for the group.
_SAME = """
    start begin commence launch
    end finish conclude terminate
    buy purchase
    price cost fee charge rate pricing
    change switch modify alter amend edit update
    make create set setup
    order track request obtain receive
    child kid children kids
    doctor gp physician
    car vehicle auto automobile
    phone mobile cellphone telephone smartphone
    flat apartment
    shop store
    film movie
    holiday vacation
    luggage baggage bag bags
    fast quick rapid speedy
    fastest quickest
    fix repair mend
    big large
    small little
    show display view see
    find locate look search
    delete remove erase
    cancel end
    job work employment position
    salary pay wage
    error fault bug
    error issue problem
    picture image photo photograph
    email mail
    website site webpage
    password passcode
    sign log
    signin login
    monthly month
    yearly annual annually year
    weekly week
    daily day
    weather forecast
    author wrote writer write
    famous known
    document paperwork papers
    trip travel journey
    deadline due
    submit file filing send
    book reserve booking reservation
    appointment slot
    contact reach
    quickly soon fast
    cheap inexpensive affordable
    expensive costly pricey
    correct right
    answer reply respond response
    ask query
    company firm business
    country nation
    city town
    street road
    lawyer solicitor attorney
    money cash
    illness sickness disease
    symptom sign
    medicine drug medication
    baby infant
    center centre
    color colour
    gray grey
    licence license
    cheque check
    program programme
    tyre tire
    organise organize
    cancelled canceled
    travelling traveling
    enable activate
    disable deactivate
    text font
    bigger larger
    smaller tinier
    ceo boss head
    run lead
    uk britain
    us usa america
    happen occur
    choose pick select
    enough sufficient
    keep retain
    learn study
    method approach technique
    speak talk
    teach instruct
    use utilize utilise employ
    difference differ
    example instance
    reason cause
    benefit advantage pro
    drawback disadvantage con downside
    ban prohibit forbid
    deliver ship delivery shipping
    customer client
    staff employee worker
    refund reimbursement
    broken damaged faulty
    rubbish garbage trash waste
    bin dustbin
    post mail
    taxi cab
    rent hire
    install setup
    clean cleaning cleaner
    tv television
    fridge refrigerator
    pc computer
    ad advert advertisement
    app application
    dose dosage
    vaccine jab vaccination immunisation immunization inoculation shot
    transfer move
    atm cashpoint
    tablet pill
    forget forgot forgotten
    renew renewal
    surgery operation
    physio physiotherapy
    exercise workout
    discount reduction
    voucher coupon
    invoice bill
    bought buy
    paid pay payment
    sent send
    spent spend
    lost lose
    broke break broken
    ate eat
    drank drink
    drove drive driven
    wore wear
    grew grow grown
    built build
    taught teach
    thought think
    flew fly flight
    chose choose
    knew know
    won win
    founder founded
    invent inventor
    discover discoverer
    paint painter
    compose composer
    direct director
    vote voting
    die death dead
    born birth
    height tall high
    length long
    weight weigh heavy
    depth deep
    width wide
    distance far
    age old
    speed fast
    population inhabitant people
    capacity hold
    permit permission allow
    forbid forbidden prohibit
    noisy loud
    poorly ill sick unwell
    sore painful hurt pain ache
    tired fatigue exhausted
    pregnant pregnancy
    teenager teen adolescent
    elderly senior pensioner
    retire retirement
    wedding marriage
    spouse partner
    garden yard
    lorry truck
    motorway highway freeway
    petrol gasoline
    trousers pants
    jumper sweater
    house home
    confirm verify
    nappy diaper
    pram stroller pushchair
    chemist pharmacy
    lift elevator
    pavement sidewalk
    timetable schedule
    parcel package
    courier delivery
    postcode zip
    mum mother mom
    dad father
    laptop notebook
    wifi wireless
    subscription membership
    subscribe signup
    register enrol enroll signup
    registration enrolment enrollment
    username userid
    notification alert
    slow sluggish
    redundancy layoff
    dismiss sack fire
    quit resign
    contract agreement
    insurance cover coverage policy
    claim claiming
    loan borrow borrowing
    savings saving
    tax taxation
    income earnings
    overdue late
    extend extension prolong
    postpone delay reschedule
    verify verification
    prove proof evidence
    complain complaint
    meal dish food
    dinner supper
    vegetarian veggie
    cook prepare
    boil boiled
    luggage suitcase
    ticket fare
    hotel accommodation
    open opening
    close closing
    hour time
    max maximum
    min minimum
    typical usual normal
    permitted allowed
    compulsory mandatory required obligatory
    qualify eligible eligibility entitled
    ring call phone
    photo photograph snap
    translate translation
    summarise summarize summary
    calculate compute calculation
    define definition
    install installation
    configure configuration setup
    folder directory
    sort order
"""


def _same(text: str) -> dict[str, frozenset[str]]:
    groups: dict[str, frozenset[str]] = {}
    for line in text.strip().splitlines():
        words = frozenset(line.split())
        for word in words:
            groups[word] = groups.get(word, frozenset()) | words
    return groups


SAME: Final = _same(_SAME)
"""Words to the words that ask the same, themselves included."""
